"""Settings of FSDP in other libraries, in code and in configuration files."""
