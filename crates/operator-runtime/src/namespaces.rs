//! Watches of all namespaces or of a few named ones, as one stream.
//!
//! A store takes its content from one watch: `Init` empties it, `InitDone` shows what came in between. Of several watches
//! each begins again on its own, so [`Merge`] makes of them one that begins once.

use std::collections::HashMap;

use clap::Args;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Controller, WatchStreamExt as _};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

/// Which namespaces a controller works in; flatten it into the controller's own arguments.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Runtime")]
pub struct Namespaces {
    /// Work on objects in this namespace only. May be given more than once, or as a list with commas. All namespaces when
    /// not set.
    #[arg(
        long = "watch-namespace",
        env = "WATCH_NAMESPACES",
        value_delimiter = ','
    )]
    pub watch_namespaces: Vec<String>,
}

impl Namespaces {
    /// The changes of all objects of a kind in these namespaces.
    pub fn watch<K>(
        &self,
        client: &Client,
        config: &watcher::Config,
    ) -> BoxStream<'static, watcher::Result<Event<K>>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + 'static,
    {
        let mut names: Vec<&str> = self.watch_namespaces.iter().map(String::as_str).collect();
        names.retain(|name| !name.is_empty());
        names.sort_unstable();
        names.dedup();
        let watch = |api: Api<K>| watcher(api, config.clone()).default_backoff().boxed();
        match names[..] {
            [] => watch(Api::all(client.clone())),
            [only] => watch(Api::namespaced(client.clone(), only)),
            _ => merged(
                names
                    .iter()
                    .map(|name| watch(Api::namespaced(client.clone(), name)))
                    .collect(),
            ),
        }
    }

    /// A controller of the objects of a kind in these namespaces.
    pub fn controller<K>(&self, client: &Client) -> Controller<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let (store, writer): (Store<K>, _) = reflector::store();
        let changes = self.watch(client, &watcher::Config::default());
        Controller::for_stream(changes.reflect(writer).applied_objects(), store)
    }
}

fn merged<K: Resource + Clone + Send + 'static>(
    watches: Vec<BoxStream<'static, watcher::Result<Event<K>>>>,
) -> BoxStream<'static, watcher::Result<Event<K>>> {
    let mut merge = Merge::new(watches.len());
    let numbered = watches
        .into_iter()
        .enumerate()
        .map(|(number, watch)| watch.map(move |event| (number, event)));
    merge_stream(stream::select_all(numbered), move |number, event| {
        merge.take(number, event)
    })
    .boxed()
}

fn merge_stream<K: Send + 'static>(
    events: impl Stream<Item = (usize, watcher::Result<Event<K>>)> + Send,
    mut take: impl FnMut(usize, Event<K>) -> Vec<Event<K>> + Send,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send {
    events.flat_map(move |(number, event)| {
        let out: Vec<watcher::Result<Event<K>>> = match event {
            Ok(event) => take(number, event).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(out)
    })
}

/// Makes one watch of several, each of which has other objects: it begins when all have told what there is, and where one
/// begins again afterwards, only what has changed is passed on. It keeps a copy of every object, to say which are gone.
struct Merge<K> {
    watches: Vec<Watch<K>>,
    begun: bool,
}

struct Watch<K> {
    objects: HashMap<String, K>,
    /// What was listed since `Init`.
    listed: Option<HashMap<String, K>>,
    complete: bool,
}

impl<K: Resource + Clone> Merge<K> {
    fn new(count: usize) -> Self {
        let watch = || Watch {
            objects: HashMap::new(),
            listed: None,
            complete: false,
        };
        Self {
            watches: (0..count).map(|_| watch()).collect(),
            begun: false,
        }
    }

    fn take(&mut self, number: usize, event: Event<K>) -> Vec<Event<K>> {
        let Some(watch) = self.watches.get_mut(number) else {
            return Vec::new();
        };
        let out = match event {
            Event::Init => {
                watch.listed = Some(HashMap::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let listed = watch.listed.get_or_insert_default();
                listed.insert(object.name_any(), object);
                Vec::new()
            }
            Event::InitDone => {
                let listed = watch.listed.take().unwrap_or_default();
                let mut former = std::mem::replace(&mut watch.objects, listed);
                watch.complete = true;
                former.retain(|name, _| !watch.objects.contains_key(name));
                let there = watch.objects.values().cloned().map(Event::Apply);
                former
                    .into_values()
                    .map(Event::Delete)
                    .chain(there)
                    .collect()
            }
            Event::Apply(object) => {
                watch.objects.insert(object.name_any(), object.clone());
                vec![Event::Apply(object)]
            }
            Event::Delete(object) => {
                watch.objects.remove(&object.name_any());
                vec![Event::Delete(object)]
            }
        };
        if self.begun {
            return out;
        }
        if !self.watches.iter().all(|watch| watch.complete) {
            return Vec::new();
        }
        self.begun = true;
        let all = self.watches.iter().flat_map(|watch| watch.objects.values());
        let all = all.cloned().map(Event::InitApply);
        std::iter::once(Event::Init)
            .chain(all)
            .chain([Event::InitDone])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object
    }

    /// What the merge of two watches says, each event in a word.
    fn says(merge: &mut Merge<ConfigMap>, number: usize, event: Event<ConfigMap>) -> Vec<String> {
        let word = |event: &Event<ConfigMap>| match event {
            Event::Apply(object) => format!("apply {}", object.name_any()),
            Event::Delete(object) => format!("delete {}", object.name_any()),
            Event::Init => "init".to_owned(),
            Event::InitApply(object) => format!("list {}", object.name_any()),
            Event::InitDone => "done".to_owned(),
        };
        let mut words: Vec<String> = merge.take(number, event).iter().map(word).collect();
        if words.first().is_none_or(|first| first != "init") {
            words.sort();
        }
        words
    }

    fn listed(merge: &mut Merge<ConfigMap>, number: usize, names: &[&str]) -> Vec<String> {
        assert_eq!(says(merge, number, Event::Init), [""; 0]);
        for name in names {
            assert_eq!(says(merge, number, Event::InitApply(object(name))), [""; 0]);
        }
        says(merge, number, Event::InitDone)
    }

    #[test]
    fn it_begins_once_all_have_told_what_there_is() {
        let mut merge = Merge::new(2);
        assert_eq!(listed(&mut merge, 0, &["a"]), [""; 0]);
        // What happens meanwhile is in the list.
        assert_eq!(says(&mut merge, 0, Event::Delete(object("a"))), [""; 0]);
        assert_eq!(says(&mut merge, 0, Event::Apply(object("b"))), [""; 0]);
        assert_eq!(
            listed(&mut merge, 1, &["c"]),
            ["init", "list b", "list c", "done"]
        );
        assert_eq!(says(&mut merge, 1, Event::Apply(object("d"))), ["apply d"]);
    }

    #[test]
    fn where_one_begins_again_the_others_objects_stay() {
        let mut merge = Merge::new(2);
        listed(&mut merge, 0, &["a", "b"]);
        listed(&mut merge, 1, &["c"]);
        assert_eq!(
            listed(&mut merge, 0, &["b", "e"]),
            ["apply b", "apply e", "delete a"]
        );
        // The same name in another namespace is another object.
        assert_eq!(listed(&mut merge, 1, &[]), ["delete c"]);
    }

    #[test]
    fn the_flag_takes_a_list_and_repetition() {
        use clap::Parser;
        #[derive(Parser)]
        struct Command {
            #[command(flatten)]
            namespaces: Namespaces,
        }
        let flags = ["x", "--watch-namespace=a,b", "--watch-namespace=c"];
        let command = Command::parse_from(flags);
        assert_eq!(command.namespaces.watch_namespaces, ["a", "b", "c"]);
    }
}
