// Placeholder removed as the target fills.
