//! What the rest of the process knows of the election: whether this process leads.

use std::time::Instant;
use tokio::sync::watch;

/// Whether this process leads. Clones see the same.
#[derive(Debug, Clone)]
pub struct Leadership {
    leads_until: watch::Receiver<Lead>,
}

/// Tells the process about its leadership.
#[derive(Debug)]
pub struct LeadershipSender {
    leads_until: watch::Sender<Lead>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    No,
    Until(Instant),
    Always,
}

impl Leadership {
    /// A process that leads nothing yet, and what changes that.
    pub fn pair() -> (LeadershipSender, Self) {
        let (sender, receiver) = watch::channel(Lead::No);
        (
            LeadershipSender {
                leads_until: sender,
            },
            Self {
                leads_until: receiver,
            },
        )
    }

    /// A process without competitors: it leads from the start.
    pub fn always() -> Self {
        let (sender, receiver) = watch::channel(Lead::Always);
        drop(sender);
        Self {
            leads_until: receiver,
        }
    }

    /// Resolves once this process leads. Await it before the first write; caches may be filled before.
    pub async fn acquired(&self) {
        let mut lead = self.leads_until.clone();
        let outcome = lead.wait_for(|lead| *lead != Lead::No).await.map(|_| ());
        if outcome.is_err() {
            // The election is over, so this process will never lead.
            std::future::pending::<()>().await;
        }
    }

    /// Whether this process leads at this moment: the term has not run out, even if nobody had time to notice yet.
    /// Ask before a write that cannot be undone and that no resourceVersion guards.
    pub fn is_leading(&self) -> bool {
        match *self.leads_until.borrow() {
            Lead::No => false,
            Lead::Until(end) => tokio::time::Instant::now().into_std() < end,
            Lead::Always => true,
        }
    }
}

impl LeadershipSender {
    pub(super) fn leads_until(&self, end: Instant) {
        self.leads_until.send_replace(Lead::Until(end));
    }

    pub(super) fn leads_no_more(&self) {
        self.leads_until.send_replace(Lead::No);
    }
}
