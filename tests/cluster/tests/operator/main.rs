//! Tests that need a control plane but no nodes: `make test-operator` brings one up.

mod chart;
<<<<<<< HEAD
mod children;
=======
mod identity;
>>>>>>> 1961a74 (Tests of links of pods on a real API server)
mod lab;
mod rules;
