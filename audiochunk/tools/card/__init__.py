"""What is written beside a dataset for those who find it on the Hugging Face Hub."""
