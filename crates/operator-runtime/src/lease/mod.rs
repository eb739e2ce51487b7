//! Leader election by a Lease: which of several replicas may write.
//!
//! [`decide`](decide::decide) is pure; [`store`] does the guarded reads and writes; [`LeaseHolder`] joins them in time. The holder of the
//! Lease may write until [`Leadership`] says otherwise; who loses it must stop at once, and the process ends.
//!
//! [`Others`] are Leases of other programs for the same work, which are only read: while one of them is held, this process
//! does not lead.
//!
//! Requests: a holder renews every half renew deadline (5 s by default, 0.2 requests/s), a standby looks every retry
//! interval (2 s). A killed holder is succeeded after the lease duration plus at most one retry interval (17 s).

mod decide;
mod holder;
mod leadership;
mod others;
mod store;

pub use decide::{Decision, Elector, LeaseSnapshot, Loss, Term, Terms, decide};
pub use holder::LeaseHolder;
pub use leadership::{Leadership, LeadershipSender};
pub use others::Others;
pub use store::LeaseStore;

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod holder_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod others_tests;
