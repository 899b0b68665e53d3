"""What is shown of plans, runs and findings: it reads, and never acts."""
