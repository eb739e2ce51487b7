//! The flags that all controllers have in common; each is also an environment variable.

use crate::lease::Terms;
use crate::logging::LogFormat;
use crate::names::short_hash;
use clap::{ArgAction, Args};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Where Kubernetes tells a Pod its own namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// A combination of flags that cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArgsError {
    /// Neither flag, environment nor service account tells the namespace.
    #[error(
        "failed to find out the namespace of this controller: set --lease-namespace or the environment variable POD_NAMESPACE"
    )]
    UnknownNamespace,
    /// The three lease times do not leave room for each other.
    #[error(
        "failed to accept the lease times: --lease-duration-seconds ({duration}) must be greater than --lease-renew-deadline-seconds ({deadline}), and that greater than twice --lease-retry-seconds ({retry})"
    )]
    LeaseTimes {
        /// `--lease-duration-seconds`
        duration: u64,
        /// `--lease-renew-deadline-seconds`
        deadline: u64,
        /// `--lease-retry-seconds`
        retry: u64,
    },
}

/// Arguments of the chassis; flatten them into the controller's own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Runtime")]
pub struct RuntimeArgs {
    /// How log lines look: text for people, json for log collectors. Logs go to stderr.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, also per module ("info,kube=debug"). Change it while running
    /// with `curl -X PUT -d debug http://127.0.0.1:8080/loglevel` from inside the Pod or through `kubectl port-forward`.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,

    /// Address of the admin server (/livez, /readyz, /metrics, /loglevel). It has no authentication and shows no secrets.
    #[arg(long, env = "ADMIN_ADDRESS", default_value = "0.0.0.0:8080")]
    pub admin_address: SocketAddr,

    /// Kubeconfig file to use. Without it: the files in the environment variable KUBECONFIG, ~/.kube/config, or the
    /// service account of the Pod.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,

    /// Longest wait for the answer to one API request, retries included. Watches are not bound by it.
    #[arg(long, env = "REQUEST_TIMEOUT_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub request_timeout_seconds: u64,

    /// Run as one of several replicas of which only the holder of a Lease writes. Switch off (--leader-elect=false) only
    /// where nothing else can run this controller at the same time.
    #[arg(long, env = "LEADER_ELECT", action = ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub leader_elect: bool,

    /// Name of the Lease; the controller's name when not set. Two installations in one namespace need two names.
    #[arg(long, env = "LEASE_NAME")]
    pub lease_name: Option<String>,

    /// Namespace of the Lease and of this controller; the service account's when not set.
    #[arg(long, env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// A Lease of another operator that works on the same objects, as NAMESPACE/NAME, or NAME in this controller's
    /// namespace; repeat it or separate several by commas. While somebody holds it, this controller stands by. When not
    /// set: those of kairos-operator as its manifests install it. "none" gives way to nobody.
    #[arg(long, env = "YIELD_TO_LEASE", value_delimiter = ',')]
    pub yield_to_lease: Vec<String>,

    /// Name under which this process holds the Lease. No other process may use it at the same time; a process that is
    /// started again under the same name goes on without waiting for its former Lease to expire. Host name and a random
    /// part when not set.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,

    /// After how long a Lease that is not renewed may be taken over.
    #[arg(long, env = "LEASE_DURATION_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(2..=600))]
    pub lease_duration_seconds: u64,

    /// After how long without a successful renewal the holder stops. A renewal is tried every half of it.
    #[arg(long, env = "LEASE_RENEW_DEADLINE_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub lease_renew_deadline_seconds: u64,

    /// How often a standby looks at the Lease, and a holder repeats a renewal that failed.
    #[arg(long, env = "LEASE_RETRY_SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub lease_retry_seconds: u64,

    /// How long running work may go on after SIGTERM. Keep it below the Pod's terminationGracePeriodSeconds (30).
    #[arg(long, env = "SHUTDOWN_GRACE_SECONDS", default_value_t = 25, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub shutdown_grace_seconds: u64,
}

impl RuntimeArgs {
    /// Deadline of one API request.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }

    /// How long running work may go on after a shutdown was requested.
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_seconds)
    }

    /// The times of the lease, checked against each other.
    pub fn lease_terms(&self) -> Result<Terms, ArgsError> {
        let (duration, deadline, retry) = (
            self.lease_duration_seconds,
            self.lease_renew_deadline_seconds,
            self.lease_retry_seconds,
        );
        if duration <= deadline || deadline <= 2 * retry {
            return Err(ArgsError::LeaseTimes {
                duration,
                deadline,
                retry,
            });
        }
        Ok(Terms {
            duration: Duration::from_secs(duration),
            renew_deadline: Duration::from_secs(deadline),
            retry: Duration::from_secs(retry),
        })
    }

    /// Namespace and name of the Leases that this process gives way to; `usual` are those where the flag names none.
    pub fn yields_to(&self, usual: &[&str], namespace: &str) -> Vec<(String, String)> {
        let given = self.yield_to_lease.iter().map(|lease| lease.trim());
        let mut leases: Vec<&str> = given.filter(|lease| !lease.is_empty()).collect();
        if leases.is_empty() {
            leases = usual.to_vec();
        }
        let place = |lease: &str| {
            let (namespace, name) = lease.split_once('/').unwrap_or((namespace, lease));
            (namespace.to_owned(), name.to_owned())
        };
        leases.retain(|lease| *lease != "none");
        let mut places: Vec<_> = leases.into_iter().map(place).collect();
        places.sort();
        places.dedup();
        places
    }

    /// The namespace of this controller: flag or `POD_NAMESPACE`, else the service account's.
    pub fn namespace(&self) -> Result<String, ArgsError> {
        self.lease_namespace
            .clone()
            .or_else(|| std::fs::read_to_string(NAMESPACE_FILE).ok())
            .map(|namespace| namespace.trim().to_owned())
            .filter(|namespace| !namespace.is_empty())
            .ok_or(ArgsError::UnknownNamespace)
    }

    /// The name of this process: flag or `POD_NAME`, else one made of the host name and what differs between processes.
    pub fn identity(&self) -> String {
        if let Some(identity) = self
            .identity
            .as_deref()
            .filter(|identity| !identity.is_empty())
        {
            return identity.to_owned();
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = match host.trim() {
            "" => "unknown-host",
            name => name,
        };
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let unique = short_hash(&[
            &std::process::id().to_string(),
            &since_epoch.as_nanos().to_string(),
        ]);
        format!("{host}_{unique}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        runtime: RuntimeArgs,
    }

    fn parse(flags: &[&str]) -> Result<RuntimeArgs, clap::Error> {
        Command::try_parse_from(std::iter::once(&"controller").chain(flags))
            .map(|command| command.runtime)
    }

    #[test]
    fn defaults_form_valid_lease_terms() {
        let terms = parse(&[]).unwrap().lease_terms().unwrap();
        assert_eq!(terms.duration, Duration::from_secs(15));
        assert_eq!(terms.renew_every(), Duration::from_secs(5));
    }

    #[test]
    fn leader_election_is_switched_off_by_value() {
        assert!(parse(&[]).unwrap().leader_elect);
        assert!(parse(&["--leader-elect"]).unwrap().leader_elect);
        assert!(!parse(&["--leader-elect=false"]).unwrap().leader_elect);
    }

    #[test]
    fn a_renew_deadline_as_long_as_the_lease_is_refused() {
        let args = parse(&["--lease-renew-deadline-seconds=15"]).unwrap();
        let error = args.lease_terms().unwrap_err().to_string();
        assert!(
            error.contains("--lease-duration-seconds (15) must be greater than"),
            "{error}"
        );
    }

    #[test]
    fn a_request_timeout_of_zero_is_refused() {
        assert!(parse(&["--request-timeout-seconds=0"]).is_err());
    }

    #[test]
    fn leases_to_give_way_to_are_the_usual_ones_unless_the_flag_names_others_or_none() {
        let places = |flags: &[&str]| {
            let places = parse(flags).unwrap().yields_to(&["former/x", "x"], "own");
            let places = places
                .iter()
                .map(|(namespace, name)| format!("{namespace}/{name}"));
            places.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(places(&[]), "former/x own/x");
        assert_eq!(places(&["--yield-to-lease=a/b,c"]), "a/b own/c");
        assert_eq!(
            places(&["--yield-to-lease=a/b", "--yield-to-lease=a/b"]),
            "a/b"
        );
        assert_eq!(places(&["--yield-to-lease=none"]), "");
    }

    #[test]
    fn the_namespace_flag_wins() {
        let args = parse(&["--lease-namespace=kairos"]).unwrap();
        assert_eq!(args.namespace().as_deref(), Ok("kairos"));
    }

    #[test]
    fn identities_that_are_not_set_differ() {
        let args = parse(&["--identity="]).unwrap();
        let first = args.identity();
        assert!(first.contains('_'), "{first}");
        assert_ne!(first, args.identity());
    }

    #[test]
    fn every_flag_has_help() {
        use clap::CommandFactory;
        for argument in Command::command().get_arguments() {
            assert!(argument.get_help().is_some(), "{}", argument.get_id());
        }
    }
}
