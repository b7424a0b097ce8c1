"""The same small programs, run with FSDP1 and with the runtime, and compared bit by bit."""
