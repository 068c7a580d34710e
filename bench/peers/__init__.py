"""What users would write instead of this service, each as the documentation of its library shows."""
