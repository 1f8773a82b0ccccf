"""A reference Endpoint Picker: flowgate behind Envoy's external processing filter."""
