"""What every package uses; nothing here knows of wheels."""
