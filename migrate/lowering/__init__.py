"""What each constructor call and each state-dict context of FSDP1 becomes."""
