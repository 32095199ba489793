//! Tests that need nodes on which pods run: `make test-cluster` brings them up, or uses the
//! cluster that `KUBECONFIG` names.

mod database;
mod first_proof;
mod identity;
mod images;
mod lab;
mod pods;
