"""Side-by-side benchmarks: what this code costs beside the least that its promises can cost."""
