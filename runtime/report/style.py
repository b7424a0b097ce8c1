"""How the report looks, in light and in dark."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --panel: #ffffff; --ink: #1d2125; --soft: #59616b; --line: #d9dde2;
  --good: #116b37; --bad: #a8201a; --warn: #7a5200; --old: #2f5fb3; --new: #c2571a;
  --add: #e3f5e8; --del: #fbe6e4; --code: #f3f4f5;
  --h0: #eceef0; --h1: #fbe9b7; --h2: #f8cd74; --h3: #f0a13f; --h4: #dd6b2c; --h5: #b2381d;
  --h6: #701010;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --panel: #1c2024; --ink: #e6e8ea; --soft: #a4adb7; --line: #363c43;
    --good: #6fd08f; --bad: #ff8f86; --warn: #e8bd62; --old: #86b0f2; --new: #f2a36e;
    --add: #173724; --del: #43201f; --code: #252a2f;
    --h0: #2a2f34; --h1: #47391f; --h2: #745521; --h3: #a66f22; --h4: #d78530; --h5: #f3a968;
    --h6: #ffddb8;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
main, header { max-width: 62rem; margin: 0 auto; padding: 1rem 1.25rem; }
h1 { font-size: 1.7rem; margin: .2rem 0 .4rem; line-height: 1.2; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .4rem 0; }
.eyebrow, figcaption, .soft, .label { color: var(--soft); }
.eyebrow { margin: 1rem 0 0; font-size: .9rem; }
.verdict { border-left: .4rem solid; padding-left: 1rem; }
.identical, .close { border-color: var(--good); }
.different, .failed { border-color: var(--bad); }
.identical h1, .close h1, .yes { color: var(--good); }
.different h1, .failed h1, .no { color: var(--bad); }
.some { color: var(--warn); }
section { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem;
  padding: .2rem 1.1rem 1.1rem; margin: 1.1rem 0; }
section h2 { margin-top: 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: baseline; }
td.n, th.n { text-align: right; }
th { font-weight: 600; color: var(--soft); font-size: .9rem; }
tbody th { color: var(--ink); font-size: 1rem; font-weight: 500; }
figure { margin: .6rem 0; }
figcaption { font-size: .9rem; margin-bottom: .3rem; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.grid { stroke: var(--line); stroke-width: 1; }
.curve { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.old { stroke: var(--old); stroke-width: 5; opacity: .55; }
.new { stroke: var(--new); stroke-width: 2; stroke-dasharray: 6 4; }
.apart { stroke: var(--bad); stroke-width: 1; opacity: .5; }
.dot { fill: var(--bad); }
.zero { fill: var(--panel); stroke: var(--soft); }
.heat0 { fill: var(--h0); } .heat1 { fill: var(--h1); } .heat2 { fill: var(--h2); }
.heat3 { fill: var(--h3); } .heat4 { fill: var(--h4); } .heat5 { fill: var(--h5); }
.heat6 { fill: var(--h6); }
.entry { white-space: nowrap; margin-right: .9rem; }
.key { display: inline-block; width: 1.6rem; height: .7rem; margin-right: .35rem; }
.key.k-old { background: var(--old); opacity: .55; }
.key.k-new { background: repeating-linear-gradient(90deg, var(--new) 0 6px, transparent 6px 10px);
  height: .2rem; margin-bottom: .25rem; }
.key.k0 { background: var(--h0); } .key.k1 { background: var(--h1); }
.key.k2 { background: var(--h2); } .key.k3 { background: var(--h3); }
.key.k4 { background: var(--h4); } .key.k5 { background: var(--h5); }
.key.k6 { background: var(--h6); }
:focus-visible { outline: .2rem solid var(--old); outline-offset: .15rem; }
summary { cursor: pointer; padding: .25rem 0; }
pre, code { font: .86rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--code); border-radius: .35rem; padding: .6rem 0; overflow-x: auto;
  margin: .5rem 0; }
pre span { display: block; padding: 0 .8rem; min-width: max-content; }
.added { background: var(--add); } .removed { background: var(--del); }
.rule, .where { margin: .3rem 0; }
.hunk { margin: 1.2rem 0; }
.where { font-size: .9rem; }
:target { background: var(--code); outline: .3rem solid var(--code); }
a { color: inherit; }
.verdict ul { margin: .2rem 0 .4rem; padding-left: 1.2rem; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--panel); padding: .5rem; }
@media print { section { break-inside: avoid; } }
"""
