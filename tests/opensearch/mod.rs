//! OpenSearch, as real nodes on this machine: `server/run.sh` fetches it from Maven Central.
//!
//! Where Java or Maven is missing these tests are skipped with a line that says so; with `ELLZERO_REQUIRE_OPENSEARCH=1`
//! they fail instead. The nodes have no security plugin, so that users and certificates are not tested here.

mod cluster;
mod commands;
mod evaluation;
mod faults;
mod scores;
mod server;
