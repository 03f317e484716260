"""What is installed: plugins found, imported and set apart, names resolved."""
