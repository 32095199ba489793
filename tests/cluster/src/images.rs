//! The names of the images under test.

/// The image of one server, `ms`, `bs` or `operator`: as `make images` names it, or, for a cluster
/// that pulls from a registry, `WARDLINK_TEST_IMAGES` before `wardlink-ms:VERSION`, such as
/// `registry.example/team/`.
pub fn image(server: &str) -> String {
    let prefix = std::env::var("WARDLINK_TEST_IMAGES").unwrap_or_default();
    format!("{prefix}wardlink-{server}:{}", env!("CARGO_PKG_VERSION"))
}
