//! TLS on both sides of a connection.
