//! The CRD in `crds/`, and the chart's copy of it, are what the types say. `make generate` writes it anew.

use std::path::Path;

use wardlink_operator_api::crd;

/// `kubectl apply` on the client's side keeps the whole object in an annotation, and all
/// annotations together may have 256 KiB.
const CLIENT_SIDE_APPLY_MAX_BYTES: usize = 256 * 1024;

#[test]
fn the_generated_crd_is_what_the_types_say() {
    let crd = crd();
    let size = serde_json::to_vec(&crd).unwrap().len();
    assert!(size < CLIENT_SIDE_APPLY_MAX_BYTES - 4096, "{size} bytes: too many for kubectl apply");

    let head = "# Generated from the types in operator/api by `make generate`. Not to be edited.\n";
    let text = format!("{head}{}", serde_saphyr::to_string(&crd).unwrap());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // A chart can only read files of its own folder.
    for file in
        ["crds/wardlink.dev_messagingclusters.yaml", "charts/wardlink/files/messagingclusters.yaml"]
    {
        let file = root.join(file);
        if std::env::var_os("WARDLINK_GENERATE").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let stored = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(stored == text, "{} differs: run `make generate`", file.display());
    }
}
