//! Tests that need nodes on which pods run: `make test-cluster` brings them up, or uses the
//! cluster that `KUBECONFIG` names.

mod images;
mod lab;
