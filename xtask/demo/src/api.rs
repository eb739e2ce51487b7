//! Requests with a deadline, and waiting with one.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// Longest wait for one answer of the API server.
const REQUEST: Duration = Duration::from_secs(20);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Awaits one request; `what` completes the sentence "failed to …".
pub(crate) async fn within<T>(
    what: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(REQUEST, request).await {
        Ok(Ok(answer)) => Ok(answer),
        // Its own message is a sentence; the rest repeats it.
        Ok(Err(kube::Error::Api(status))) => bail!("failed to {what}: {}", status.message),
        Ok(Err(error)) => Err(error).with_context(|| format!("failed to {what}")),
        Err(_) => bail!(
            "failed to {what}: the API server did not answer within {} s",
            REQUEST.as_secs()
        ),
    }
}

/// Looks again and again until `look` returns something; `what` completes the sentence "… did not happen".
pub(crate) async fn until<T, F>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
