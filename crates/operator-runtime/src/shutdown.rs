//! SIGTERM and SIGINT as a token that any number of tasks can wait for.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Resolves when the process was asked to end. Clones see the same request.
#[derive(Debug, Clone)]
pub struct Shutdown {
    requests: watch::Receiver<u32>,
}

/// Asks for a shutdown from within the process.
#[derive(Debug)]
pub struct ShutdownTrigger {
    requests: watch::Sender<u32>,
}

impl Shutdown {
    /// A token that follows SIGTERM and SIGINT. Needs a running tokio runtime.
    pub fn from_signals() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (trigger, shutdown) = Self::pair();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!(
                    signal = name,
                    "asked to stop; a second signal ends the grace period"
                );
                trigger.request();
            }
        });
        Ok(shutdown)
    }

    /// A token and what triggers it, for tests and for processes with another way to end.
    pub fn pair() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(0);
        (
            ShutdownTrigger { requests: sender },
            Self { requests: receiver },
        )
    }

    /// Resolves once a shutdown was requested.
    pub async fn requested(&self) {
        self.requested_times(1).await;
    }

    /// Resolves once a shutdown was requested twice: whoever asks does not want to wait for running work.
    pub async fn insisted(&self) {
        self.requested_times(2).await;
    }

    /// Whether a shutdown was requested.
    pub fn is_requested(&self) -> bool {
        *self.requests.borrow() > 0
    }

    async fn requested_times(&self, times: u32) {
        let mut requests = self.requests.clone();
        let outcome = requests.wait_for(|count| *count >= times).await.map(|_| ());
        if outcome.is_err() {
            // The trigger is gone, so no request can come any more.
            std::future::pending::<()>().await;
        }
    }
}

impl ShutdownTrigger {
    /// Requests a shutdown; the second request ends the grace period.
    pub fn request(&self) {
        self.requests
            .send_modify(|count| *count = count.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test(start_paused = true)]
    async fn every_clone_sees_the_request() {
        let (trigger, shutdown) = Shutdown::pair();
        let other = shutdown.clone();
        assert!(timeout(MOMENT, shutdown.requested()).await.is_err());
        trigger.request();
        assert!(timeout(MOMENT, other.requested()).await.is_ok());
        assert!(shutdown.is_requested());
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_second_request_insists() {
        let (trigger, shutdown) = Shutdown::pair();
        trigger.request();
        assert!(timeout(MOMENT, shutdown.insisted()).await.is_err());
        trigger.request();
        assert!(timeout(MOMENT, shutdown.insisted()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trigger_that_is_gone_is_no_request() {
        let (trigger, shutdown) = Shutdown::pair();
        drop(trigger);
        assert!(timeout(MOMENT, shutdown.requested()).await.is_err());
    }
}
