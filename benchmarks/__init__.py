"""What flowgate costs, as ratios to what asyncio costs without it. Run ``python -m benchmarks``."""
