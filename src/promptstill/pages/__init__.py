"""What people look at: charts as inline SVG, the report page, the model card. Plain data in, text out; no model."""
