"""Foundation models, generators and students behind URIs."""
