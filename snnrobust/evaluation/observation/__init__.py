"""What chips do beside their accuracy: activity, answers, energy, over times and temperatures."""
