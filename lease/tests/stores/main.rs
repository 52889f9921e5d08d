//! What every store promises, held against all of them: one suite, run on the store in memory, on a
//! directory, and on Kubernetes and Consul as far as their public documents tell what they do.
//!
//! The servers here are stand-ins that speak HTTP, in the test's own process. What they answer
//! follows the API references ("Leases", coordination.k8s.io/v1; Consul's "Session HTTP Endpoint"
//! and "KV Store Endpoints"), and single exchanges are taken from the samples there. They are no
//! proof that the real programs do the same: name a Consul agent in `RINGMESH_TEST_CONSUL`, or what
//! `kubectl proxy` listens on in `RINGMESH_TEST_KUBERNETES`, and the suite asks those too.

mod consul;
mod contract;
mod directory;
mod kubernetes;
mod memory;
mod processes;
mod server;
mod tls;
