//! What each move does.

use super::*;
use api_types::names::ANNOTATION_CORDONED_BY;

impl Cluster {
    fn note(&mut self, what: &'static str) {
        *self.disturbances.entry(what).or_default() += 1;
    }

    pub(super) fn take(&mut self, chosen: &Move, choices: &mut Choices) {
        match chosen {
            Move::CommandEnds(job, good) => self.command_ends(job, *good),
            Move::JobReports(job) => self.job_reports(job, choices),
            Move::CheckEnds(pod, phase, words) => {
                let code = i32::from(*phase == "Failed");
                self.pod_status(
                    pod,
                    &json!({"phase": phase, "containerStatuses": [{"name": CONTAINER_NAME,
                    "state": {"terminated": {"exitCode": code, "message": words}}}]}),
                );
            }
            Move::PodStarts(pod) => self.pod_status(pod, &json!({"phase": "Running"})),
            Move::Agent(pod) => self.agent_moves(pod),
            Move::NodeReturns(node) => self.boot(node),
            Move::PodGoes(pod) => self.model.remove(Kind::Pod, pod),
            Move::Recreate => self.recreate(),
            Move::Collect(kind, name) => self.model.remove(*kind, name),
            Move::PowerCut(node) => {
                self.note("power cut");
                self.go_down(node);
            }
            Move::Readiness(node, ready) => {
                self.note("readiness");
                self.readiness(node, *ready);
            }
            Move::Cordon(node) => {
                self.note("cordon by a human");
                // Where our annotation stands, nobody can tell a cordon that was taken off and put on again from ours.
                if !self.is_cordoned_by_us(node) {
                    self.model.history.human_cordons.insert(node.clone());
                }
                self.model
                    .patch(Kind::Node, node, &json!({"spec": {"unschedulable": true}}));
            }
            Move::Uncordon(node) => {
                self.note("uncordon by a human");
                self.model.history.human_cordons.remove(node);
                self.model
                    .patch(Kind::Node, node, &json!({"spec": {"unschedulable": null}}));
            }
            Move::PodLost(pod) => {
                self.note("reboot pod lost");
                if choices.rarely("pod is removed", 2) {
                    self.model.remove(Kind::Pod, pod);
                } else {
                    self.pod_status(pod, &json!({"phase": "Failed", "reason": "Evicted"}));
                }
            }
            Move::JobDeleted(job) => {
                self.note("job deleted");
                self.ended.remove(job);
                if let Some(object) = self.model.get(Kind::Job, job).cloned() {
                    self.model.history.excuses.job_deleted(&object);
                }
                self.model.remove(Kind::Job, job);
            }
            Move::Pause(name, paused) => {
                self.note("pause");
                self.model
                    .patch(Kind::NodeOp, name, &json!({"spec": {"paused": paused}}));
            }
            Move::DeleteOp(name) => {
                self.note("operation deleted");
                self.model.delete(Kind::NodeOp, name, By::World);
            }
            Move::CreateOp => {
                self.note("second operation");
                self.create_op(choices);
            }
            Move::Replace(node) => {
                self.note("machine replaced");
                self.replace(node);
            }
        }
    }

    fn command_ends(&mut self, name: &str, good: bool) {
        let Some(job) = self.model.get(Kind::Job, name).cloned() else {
            return;
        };
        self.ended.insert(name.to_owned(), good);
        let spec = &job["spec"]["template"]["spec"];
        let node = node_of(&job).to_owned();
        let with_agent = text(spec, "/containers/0/name") == AGENT_CONTAINER;
        // Containers run one after the other; the sentinel is written when it is the agent's turn.
        let agent_first = text(spec, "/initContainers/0/name") == AGENT_CONTAINER;
        if (good && with_agent) || agent_first {
            self.model.history.sentinel(&node, good);
            self.machines
                .entry(node.clone())
                .or_default()
                .sentinels
                .insert(name.to_owned());
        }
        self.pods += 1;
        let boot = self
            .model
            .get(Kind::Node, &node)
            .map(|node| text(node, "/status/nodeInfo/bootID").to_owned());
        let code = i32::from(!good);
        let mut containers = vec![];
        if with_agent && good {
            containers.push(json!({"name": AGENT_CONTAINER,
                "state": {"terminated": {"exitCode": 0, "message": boot}}}));
        }
        containers
            .push(json!({"name": CONTAINER_NAME, "state": {"terminated": {"exitCode": code}}}));
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": format!("{name}-{}", self.pods), "namespace": NAMESPACE,
                "labels": merged(&job["metadata"]["labels"], &json!({"batch.kubernetes.io/job-name": name})),
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": name,
                    "uid": job["metadata"]["uid"], "controller": true}]},
            "spec": {"nodeName": node},
            "status": {"phase": if good { "Succeeded" } else { "Failed" }, "containerStatuses": containers}});
        self.model.create(Kind::Pod, pod, By::World);
    }

    fn job_reports(&mut self, name: &str, choices: &mut Choices) {
        let Some(good) = self.ended.remove(name) else {
            return;
        };
        // A Job whose Pods are gone may still be told: its result is in its own status.
        if choices.rarely("pods are gone", 8) {
            let pods: Vec<String> = self
                .model
                .all(Kind::Pod)
                .filter(|(_, pod)| text(pod, "/metadata/ownerReferences/0/name") == name)
                .map(|(pod, _)| pod.to_owned())
                .collect();
            for pod in pods {
                self.model.remove(Kind::Pod, &pod);
            }
        }
        let condition = if good { "Complete" } else { "Failed" };
        self.model.patch(
            Kind::Job,
            name,
            &json!({"status": {"conditions": [{"type": condition, "status": "True"}]}}),
        );
    }

    fn agent_moves(&mut self, name: &str) {
        let Some(pod) = self.model.get(Kind::Pod, name).cloned() else {
            return;
        };
        let node = text(&pod, "/spec/nodeName").to_owned();
        match self.agent(&pod) {
            Action::Ask | Action::Force => {
                self.model.history.rebooted(owner_of(&pod), &node);
                self.go_down(&node);
            }
            Action::Finish => {
                let sentinel = name.trim_end_matches("-reboot");
                if let Some(machine) = self.machines.get_mut(&node) {
                    machine.sentinels.remove(sentinel);
                }
                self.pod_status(name, &json!({"phase": "Succeeded"}));
            }
            Action::AwaitPermission | Action::AwaitProof | Action::AwaitEffect => {}
        }
    }

    fn go_down(&mut self, node: &str) {
        if let Some(machine) = self.machines.get_mut(node) {
            machine.down = true;
        }
        self.readiness(node, false);
        // A command that was cut off runs again in the Job's next Pod; one that had ended has ended.
        let lost: Vec<String> = self
            .model
            .all(Kind::Pod)
            .filter(|(_, pod)| is_app(pod) && text(pod, "/spec/nodeName") == node)
            .map(|(name, _)| name.to_owned())
            .collect();
        for pod in lost {
            self.pod_status(&pod, &json!({"phase": "Unknown"}));
        }
    }

    fn boot(&mut self, node: &str) {
        self.boots += 1;
        if let Some(machine) = self.machines.get_mut(node) {
            machine.down = false;
        }
        let boot = boot_id(self.boots);
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"bootID": boot}}});
        self.model.patch(Kind::Node, node, &status);
        let back: Vec<String> = self
            .model
            .all(Kind::Pod)
            .filter(|(_, pod)| is_app(pod) && text(pod, "/spec/nodeName") == node)
            .map(|(name, _)| name.to_owned())
            .collect();
        for pod in back {
            self.pod_status(&pod, &json!({"phase": "Running"}));
        }
    }

    /// Brings every node back and lifts what people hold up, so that everything can come to an end.
    pub(in crate::controller::simulation) fn calm_down(&mut self) {
        for node in NODES {
            if !self.is_up(node) {
                self.boot(node);
            }
            self.readiness(node, true);
        }
        let names: Vec<String> = self
            .model
            .all(Kind::NodeOp)
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in names {
            self.model
                .patch(Kind::NodeOp, &name, &json!({"spec": {"paused": false}}));
        }
    }

    fn is_cordoned_by_us(&self, node: &str) -> bool {
        let node = self.model.get(Kind::Node, node);
        node.is_some_and(|node| node["metadata"]["annotations"][ANNOTATION_CORDONED_BY].is_string())
    }

    fn readiness(&mut self, node: &str, ready: bool) {
        let status = if ready { "True" } else { "False" };
        self.model.patch(
            Kind::Node,
            node,
            &json!({"status": {"conditions": [{"type": "Ready", "status": status}]}}),
        );
    }

    fn pod_status(&mut self, pod: &str, status: &Value) {
        self.model.patch(Kind::Pod, pod, &json!({"status": status}));
    }

    /// Another machine takes the node's name.
    fn replace(&mut self, name: &str) {
        let Some(mut node) = self.model.get(Kind::Node, name).cloned() else {
            return;
        };
        self.model.remove(Kind::Node, name);
        self.model.history.human_cordons.remove(name);
        self.machines.insert(name.to_owned(), Machine::default());
        self.boots += 1;
        node["metadata"]["annotations"] = json!({});
        node["spec"] = json!({});
        node["status"]["nodeInfo"] =
            json!({"bootID": boot_id(self.boots), "systemUUID": format!("machine-{}", self.boots)});
        self.model.create(Kind::Node, node, By::World);
    }

    pub(in crate::controller::simulation) fn recreate(&mut self) {
        let Some(node) = self.home() else {
            return;
        };
        self.pods += 1;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": format!("db-{}", self.pods), "namespace": NAMESPACE, "labels": {"app": "db"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "db", "uid": "db", "controller": true}]},
            "spec": {"nodeName": node}, "status": {"phase": "Running"}});
        self.model.create(Kind::Pod, pod, By::World);
    }

    pub(in crate::controller::simulation) fn create_op(&mut self, choices: &mut Choices) {
        self.pods += 1;
        let disturbing = !choices.rarely("plain operation", 4);
        let mut spec = json!({
            "command": ["run"],
            "concurrency": choices.draw("concurrency", 3),
            "stopOnFailure": choices.rarely("stopOnFailure", 3),
            "uncordonOnFailure": choices.rarely("uncordonOnFailure", 3),
        });
        if disturbing {
            spec["cordon"] = json!(true);
            spec["rebootOnSuccess"] = json!(!choices.rarely("no reboot", 4));
            if choices.rarely("drain", 2) {
                spec["drainOptions"] = json!({"enabled": true, "timeoutSeconds": 900});
            }
        }
        if choices.rarely("preflight", 3) {
            spec["preflight"] = json!({"command": ["check"]});
        }
        if choices.rarely("verify", 3) {
            spec["verify"] = json!({"command": ["check"]});
        }
        let op = json!({"apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp",
            "metadata": {"name": format!("op-{}", self.pods), "namespace": NAMESPACE}, "spec": spec});
        self.model.create(Kind::NodeOp, op, By::World);
    }
}

fn merged(labels: &Value, more: &Value) -> Value {
    let mut all = labels.clone();
    for (name, value) in more.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    all
}
