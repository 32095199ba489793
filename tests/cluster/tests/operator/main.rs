//! Tests that need a control plane but no nodes: `make test-operator` brings one up.

mod chart;
mod children;
mod conditions;
mod identity;
mod keeping;
mod lab;
mod leading;
mod leaving;
mod metrics;
mod rules;
mod troubles;
mod ward;
