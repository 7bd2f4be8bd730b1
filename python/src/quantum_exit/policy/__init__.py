"""What may be traded and how it is protected: the policy file, its validation, its publication."""
