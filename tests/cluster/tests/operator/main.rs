//! Tests that need a control plane but no nodes: `make test-operator` brings one up.

mod chart;
mod children;
mod lab;
mod rules;
