"""What migrated programs may import."""
