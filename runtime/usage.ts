/** What `sluice --help` says of the runtime's commands, without a heading. */
export const runtimeUsage = `  sluice gateway --config FILE     snapshots and WAL into staging, until SIGTERM
  sluice applier --config FILE     staging into Delta tables, until SIGTERM (or once)
  sluice status --config FILE [--json]
                                   what the process of a configuration file says of itself
  sluice health --config FILE [--json]
                                   whether it answers; exits with 0 or 1
  sluice runs --config FILE [--table SCHEMA.TABLE] [--limit N] [--json]
                                   what the applier has done by table, the newest first (20)
  sluice runs --pipeline ID [--config FILE | --host URL | --profile NAME] [--table SCHEMA.TABLE] [--limit N] [--json]
                                   the same of a declarative pipeline of Databricks, from its event log
  sluice refresh --pipeline ID [--config FILE | --host URL | --profile NAME] --table NAME | --all [--full] [--json]
                                   starts an update of it, of these tables only; --full: they lose what they have first
  sluice resync --config FILE --table SCHEMA.TABLE | --all [--accept-history-loss] [--json]
                                   new snapshots of tables, whose rows of now stay readable until then
  sluice purge --config FILE [--older-than 7d] [--past-snapshots] [--dry-run] [--json]
                                   removes from staging what a declarative pipeline needs no more; --past-snapshots: a
                                   table's last snapshot too, without which it can't be refreshed in full
  sluice doctor databricks [--config FILE | --host URL | --profile NAME] [--volume CATALOG.SCHEMA.VOLUME]
                           [--schema CATALOG.SCHEMA] [--warehouse ID] [--json]
                           [--managed [--gateway-schema CATALOG.SCHEMA] [--connection NAME]]
                                   what a workspace lacks for staging and tables, or for Databricks' own pipelines
                                   (--managed), with the GRANT; exits with 0 or 1
  sluice drop-tables --config FILE --yes
                                   drops the Delta tables that an applier, which is stopped, has made
  sluice supervise FILE            runs the process of a configuration file, again after a crash
  sluice app --config FILE         the same where Databricks Apps give port and address
  sluice job --config FILE         the same as a job of Databricks, which tells its status in a volume
  sluice --version
`;
