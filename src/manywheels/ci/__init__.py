"""The doors that CI systems come through."""
