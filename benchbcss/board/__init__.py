"""The leaderboard: rows from results on disk."""
