"""Tools that build and describe the deployment: images, the Lambda archive, bills of materials, the dashboard."""
