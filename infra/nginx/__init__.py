"""NGINX's configurations: a template a role, and what renders them."""
