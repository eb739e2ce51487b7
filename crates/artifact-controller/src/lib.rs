//! Will build an OSArtifact in the cluster; holds nothing yet.
