"""Long trials with many repetitions. Each is one command; continuous integration runs it with a small n."""
