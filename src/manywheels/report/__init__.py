"""What users see of plans, runs and findings. Only reads, never acts."""
