"""What every SQL store shares: how writes become rows and rows become values."""
