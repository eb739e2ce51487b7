//! How passes begin and end with the process.

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_pass_that_waits_for_caches_does_not_hold_up_the_end_of_the_process() {
    let (_tell, told) = watch::channel(false);
    let (trigger, shutdown) = Shutdown::pair();
    trigger.request();
    let waited = filled_within(told, PATIENCE, &shutdown).await;
    assert!(matches!(waited, Err(Error::ShuttingDown)), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn every_pass_that_waits_for_caches_goes_on_at_once_when_they_are_filled() {
    let (tell, told) = watch::channel(false);
    let (_trigger, shutdown) = Shutdown::pair();
    let begun = tokio::time::Instant::now();
    let wait = || {
        let (told, shutdown) = (told.clone(), shutdown.clone());
        tokio::spawn(async move { filled_within(told, PATIENCE, &shutdown).await })
    };
    let passes = [wait(), wait(), wait()];
    tokio::task::yield_now().await;
    tell.send_replace(true);
    for pass in passes {
        pass.await.unwrap().unwrap();
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
