//! The loop over real files, with a host that is only told to go down.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;

use anyhow::bail;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

/// A host and a Pod in one folder.
struct World {
    folder: tempfile::TempDir,
    args: RebootArgs,
    /// What was done to the host, and how many seconds after the start.
    done: Rc<RefCell<Vec<(&'static str, u64)>>>,
}

impl World {
    /// Boot `boot-1`, the command has succeeded, no permission.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |path: &str| folder.path().join(path);
        let args = RebootArgs {
            name: "op-node-1".parse().unwrap(),
            annotations: path("annotations"),
            proc: path("proc"),
            grace_seconds: 300,
        };
        for made in [
            "proc/1/root/proc/sys/kernel/random",
            "proc/1/root/usr/local/.kairos",
        ] {
            fs::create_dir_all(path(made)).unwrap();
        }
        let world = Self {
            folder,
            args,
            done: Rc::default(),
        };
        world.boot("boot-1");
        world.annotate("a=\"1\"");
        fs::write(world.sentinel(), "").unwrap();
        world
    }

    fn boot(&self, boot_id: &str) {
        let path = "proc/1/root/proc/sys/kernel/random/boot_id";
        fs::write(self.folder.path().join(path), format!("{boot_id}\n")).unwrap();
    }

    fn annotate(&self, text: &str) {
        fs::write(&self.args.annotations, text).unwrap();
    }

    fn permit(&self, boot_id: &str) {
        self.annotate(&format!(
            "a=\"1\"\n{ANNOTATION_REBOOT_AUTHORIZED}=\"{boot_id}\""
        ));
    }

    fn sentinel(&self) -> PathBuf {
        let path = "proc/1/root/usr/local/.kairos/op-node-1";
        self.folder.path().join(path)
    }

    fn done(&self) -> Vec<&'static str> {
        self.done.borrow().iter().map(|(what, _)| *what).collect()
    }

    /// Runs the agent on a host that reacts with `asked`, until SIGTERM after `lifetime`.
    async fn run(&self, asked: impl Fn(), lifetime: Duration) -> anyhow::Result<Ending> {
        let power = FakePower {
            done: Rc::clone(&self.done),
            start: Instant::now(),
            sync: Duration::ZERO,
            asked,
        };
        Agent::new(&self.args, power).run(sleep(lifetime)).await
    }
}

struct FakePower<F> {
    done: Rc<RefCell<Vec<(&'static str, u64)>>>,
    start: Instant,
    /// How long a sync takes.
    sync: Duration,
    asked: F,
}

impl<F> FakePower<F> {
    fn note(&self, what: &'static str) {
        self.done
            .borrow_mut()
            .push((what, self.start.elapsed().as_secs()));
    }
}

impl<F: Fn()> Power for FakePower<F> {
    async fn sync(&self) {
        self.note("sync");
        sleep(self.sync).await;
    }

    async fn ask(&self) {
        self.note("ask");
        (self.asked)();
    }

    fn force(&self) -> anyhow::Result<()> {
        self.note("force");
        bail!("reboot(2) came back")
    }
}

#[tokio::test(start_paused = true)]
async fn without_permission_the_host_is_left_alone_until_sigterm() {
    let world = World::new();
    let ending = world.run(|| {}, HOUR).await.unwrap();
    assert_eq!(ending, Ending::Stopped);
    assert_eq!(world.done(), [] as [&str; 0]);
    assert!(world.sentinel().exists());
}

#[tokio::test(start_paused = true)]
async fn a_permitted_host_is_asked_once_and_the_sentinel_goes_when_it_is_back() {
    let world = World::new();
    world.permit("boot-1");
    let ending = world.run(|| world.boot("boot-2"), HOUR).await.unwrap();
    assert_eq!(ending, Ending::Rebooted);
    assert_eq!(world.done(), ["sync", "ask"]);
    assert!(!world.sentinel().exists());
}

#[tokio::test(start_paused = true)]
async fn a_permission_for_another_boot_means_that_the_reboot_has_happened() {
    let world = World::new();
    world.permit("boot-0");
    let ending = world.run(|| {}, HOUR).await.unwrap();
    assert_eq!(ending, Ending::Rebooted);
    assert_eq!(world.done(), [] as [&str; 0]);
    assert!(!world.sentinel().exists());
    // Once more without a sentinel, as after a restart in between.
    assert_eq!(world.run(|| {}, HOUR).await.unwrap(), Ending::Rebooted);
}

#[tokio::test(start_paused = true)]
async fn without_proof_of_work_a_permission_reboots_nothing() {
    let world = World::new();
    fs::remove_file(world.sentinel()).unwrap();
    world.permit("boot-1");
    assert_eq!(world.run(|| {}, HOUR).await.unwrap(), Ending::Stopped);
    assert_eq!(world.done(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_go_down_is_forced_after_its_grace_in_spite_of_sigterm() {
    let world = World::new();
    world.permit("boot-1");
    let lifetime = Duration::from_secs(10);
    let error = world.run(|| {}, lifetime).await.unwrap_err();
    assert_eq!(error.to_string(), "reboot(2) came back");
    assert_eq!(world.done(), ["sync", "ask", "sync", "force"]);
    let (_, forced) = *world.done.borrow().last().unwrap();
    assert!((300..310).contains(&forced), "after {forced} s");
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_is_withdrawn_forces_nothing() {
    let world = World::new();
    world.permit("boot-1");
    let running = world.run(|| world.annotate(""), HOUR);
    let ended = tokio::time::timeout(HOUR, running).await;
    assert!(ended.is_err(), "{ended:?}");
    assert_eq!(world.done(), ["sync", "ask"]);
}

#[tokio::test(start_paused = true)]
async fn sigterm_during_the_sync_comes_before_the_request() {
    let world = World::new();
    world.permit("boot-1");
    let power = FakePower {
        done: Rc::clone(&world.done),
        start: Instant::now(),
        sync: Duration::from_secs(30),
        asked: || {},
    };
    let terminate = sleep(Duration::from_secs(10));
    let ending = Agent::new(&world.args, power).run(terminate).await.unwrap();
    assert_eq!(ending, Ending::Stopped);
    assert_eq!(world.done(), ["sync"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_started_again_goes_on_from_the_files() {
    let world = World::new();
    world.permit("boot-1");
    // Killed right after it has asked.
    let killed = tokio::time::timeout(Duration::from_secs(5), world.run(|| {}, HOUR)).await;
    assert!(killed.is_err());
    world.boot("boot-2");
    assert_eq!(world.run(|| {}, HOUR).await.unwrap(), Ending::Rebooted);
    assert_eq!(world.done(), ["sync", "ask"]);
}

#[tokio::test(start_paused = true)]
async fn annotations_that_cannot_be_read_for_a_moment_change_nothing_and_for_long_are_an_error() {
    let world = World::new();
    fs::remove_file(&world.args.annotations).unwrap();
    let give_back = async {
        sleep(Duration::from_millis(5500)).await;
        world.permit("boot-1");
    };
    let (ending, ()) = tokio::join!(world.run(|| world.boot("boot-2"), HOUR), give_back);
    assert_eq!(ending.unwrap(), Ending::Rebooted);

    for unreadable in ["", "no quotes"] {
        let world = World::new();
        if unreadable.is_empty() {
            fs::remove_file(&world.args.annotations).unwrap();
        } else {
            world.annotate(&format!("{ANNOTATION_REBOOT_AUTHORIZED}={unreadable}"));
        }
        let error = world.run(|| {}, HOUR).await.unwrap_err();
        assert!(error.to_string().contains("annotation"), "{error:#}");
        assert_eq!(world.done(), [] as [&str; 0]);
    }
}
