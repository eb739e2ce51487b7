//! The controller killed (kill -9) before and after each of its writes, and at random moments, and started again: the
//! operation ends as if nothing had happened, and no node is started twice.
//!
//! `KAIROS_E2E_SEED` sets the seed of the random moments, `KAIROS_E2E_KILLS` how many there are. An operation that reboots
//! takes many writes: only every few of them is tried, `KAIROS_E2E_STRIDE=1` tries each.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod chance;
#[path = "../sim_nodeop/world/history.rs"]
#[expect(
    dead_code,
    reason = "order and overlaps are of use to the other tests only"
)]
mod history;
mod machines;
mod rig;

use chance::{Moments, from_environment};
use rig::{Kill, Rig, Story};

/// Random moments, unless `KAIROS_E2E_KILLS` says otherwise.
const KILLS: usize = 30;
/// Random moments in operations that reboot, which take several times as long.
const WHOLE_KILLS: usize = 4;
/// Of an operation that reboots, every so many writes are tried.
const STRIDE: usize = 23;
/// An undisturbed run takes about this long.
const RUN_MILLISECONDS: u64 = 3000;
/// The same for an operation with checks, drain and reboot.
const WHOLE_MILLISECONDS: u64 = 12_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_or_after_any_write_changes_nothing() {
    before_and_after_each_write(Story::Command, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_or_after_any_write_of_an_operation_that_reboots_changes_nothing() {
    before_and_after_each_write(Story::Whole, from_environment("KAIROS_E2E_STRIDE", STRIDE)).await;
}

/// Kills before and after every `stride`-th write.
async fn before_and_after_each_write(story: Story, stride: usize) {
    let rig = Rig::start(story).await;
    let calm = rig.run("calm", None).await;
    assert!(
        calm.writes >= 8,
        "an undisturbed run makes only {} writes",
        calm.writes
    );
    let mut killed = 0;
    for write in (1..=calm.writes).step_by(stride) {
        for kill in [Kill::Before(write), Kill::After(write)] {
            killed += usize::from(rig.run(&format!("{kill:?}"), Some(kill)).await.killed);
        }
    }
    rig.check_audit_log();
    // The last writes are Events, whose number may differ by what one pass sees together.
    assert!(
        killed + 8 >= 2 * calm.writes.div_ceil(stride),
        "only {killed} kills for {} writes",
        calm.writes
    );
    eprintln!(
        "{killed} kills before and after {} writes: no node was started twice",
        calm.writes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_changes_nothing() {
    at_random_moments(Story::Command, RUN_MILLISECONDS, KILLS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_of_an_operation_that_reboots_changes_nothing() {
    at_random_moments(Story::Whole, WHOLE_MILLISECONDS, WHOLE_KILLS).await;
}

async fn at_random_moments(story: Story, within: u64, kills: usize) {
    let mut moments = Moments::new();
    let seed = moments.seed;
    let kills = from_environment("KAIROS_E2E_KILLS", kills);
    eprintln!("seed {seed}, {kills} kills");
    let rig = Rig::start(story).await;
    for number in 0..kills {
        let kill = Kill::At(moments.next(within));
        let what = format!("kill {number} of seed {seed}: {kill:?}");
        rig.run(&what, Some(kill)).await;
    }
    rig.check_audit_log();
}
