"""Every operation of the API, by the client that is generated from upstream's OpenAPI.

Runs in the SDK's environment. Prints what each operation answered as JSON, by its name.
"""

import json
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import kfp_server_api as api  # noqa: E402
import yaml  # noqa: E402

SERVICES = ("Experiment", "Pipeline", "PipelineUpload", "Run", "RecurringRun", "Auth", "Healthz",
            "DummyFilter", "Report", "Visualization")  # fmt: skip
ENDED = ("SUCCEEDED", "FAILED")


class Caller:
    """Calls operations and notes that they were."""

    def __init__(self, url: str) -> None:
        client = api.ApiClient(api.Configuration(host=url))
        self.known = {}
        self.called = {}
        for name in SERVICES:
            service = getattr(api, f"{name}ServiceApi")(client)
            for operation in dir(service):
                if not operation.startswith(("_", "api_")) and not operation.endswith("_info"):
                    self.known[operation] = getattr(service, operation)

    def __call__(self, operation: str, *arguments, **named):
        try:
            answer = self.known[operation](*arguments, **named)
        except api.ApiException as error:
            self.called[operation] = error.status
            return json.loads(error.body)
        self.called[operation] = 200
        return answer


def main(url: str, package: str) -> dict:
    call = Caller(url)
    spec = yaml.safe_load(Path(package).read_text())
    found = {"multi_user": call("healthz_service_get_healthz").multi_user}
    call("auth_service_authorize", namespace="default", resources="VIEWERS", verb="GET")
    call("dummy_filter_service_get_filter")
    pipelines(call, package, spec)
    experiment = experiments(call)
    found |= runs(call, spec, experiment)
    found |= recurring(call, spec, experiment)
    call("experiment_service_archive_experiment", experiment)
    call("experiment_service_unarchive_experiment", experiment)
    call("experiment_service_delete_experiment", experiment)
    call("report_service_report_workflow", "{}")
    call("report_service_report_scheduled_workflow", "{}")
    call("visualization_service_create_visualization_v1", "default", {})
    found["missing"] = sorted(call.known.keys() - call.called.keys())
    return {**found, "called": call.called}


def pipelines(call: Caller, package: str, spec: dict) -> None:
    made = call("upload_pipeline", package, name="all-operations", tags='{"a":"b"}')
    version = call("upload_pipeline_version", package, name="two", pipelineid=made.pipeline_id)
    call("pipeline_service_get_pipeline", made.pipeline_id)
    call("pipeline_service_get_pipeline_by_name", "all-operations")
    call("pipeline_service_list_pipelines", page_size=1, sort_by="created_at desc")
    call("pipeline_service_list_pipeline_versions", made.pipeline_id)
    call("pipeline_service_get_pipeline_version", made.pipeline_id, version.pipeline_version_id)
    body = api.V2beta1PipelineVersion(display_name="three", pipeline_spec=spec)
    call("pipeline_service_create_pipeline_version", made.pipeline_id, body)
    changed = api.V2beta1PipelineVersion(display_name="zwei")
    own = (made.pipeline_id, version.pipeline_version_id)
    call("pipeline_service_update_pipeline_version", *own, changed)
    call("pipeline_service_delete_pipeline_version", *own)
    call("pipeline_service_update_pipeline", made.pipeline_id, api.V2beta1Pipeline(tags={"c": "d"}))
    call("pipeline_service_delete_pipeline", made.pipeline_id, cascade=True)
    empty = call("pipeline_service_create_pipeline", api.V2beta1Pipeline(name="empty"))
    call("pipeline_service_delete_pipeline", empty.pipeline_id)
    both = api.V2beta1CreatePipelineAndVersionRequest(
        pipeline=api.V2beta1Pipeline(name="both"), pipeline_version=body
    )
    made = call("pipeline_service_create_pipeline_and_version", both)
    call("pipeline_service_delete_pipeline", made.pipeline_id, cascade=True)


def experiments(call: Caller) -> str:
    body = api.V2beta1Experiment(display_name="all operations")
    made = call("experiment_service_create_experiment", body)
    call("experiment_service_get_experiment", made.experiment_id)
    wanted = json.dumps(
        {"predicates": [{"key": "name", "operation": "EQUALS", "stringValue": "all operations"}]}
    )
    (listed,) = call("experiment_service_list_experiments", filter=wanted).experiments
    assert listed.experiment_id == made.experiment_id
    return made.experiment_id


def runs(call: Caller, spec: dict, experiment: str) -> dict:
    config = api.V2beta1RuntimeConfig(parameters={"text": "hello"})
    body = api.V2beta1Run(
        display_name="one", pipeline_spec=spec, experiment_id=experiment, runtime_config=config
    )
    run_id = call("run_service_create_run", body).run_id
    deadline = time.monotonic() + 100
    while call("run_service_get_run", run_id).state not in ENDED:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    listed = call("run_service_list_runs", experiment_id=experiment, sort_by="created_at desc")
    call("run_service_terminate_run", run_id)
    retried = call("run_service_retry_run", run_id)
    call("run_service_archive_run", run_id)
    call("run_service_unarchive_run", run_id)
    ended = call("run_service_get_run", run_id)
    call("run_service_delete_run", run_id)
    call("run_service_get_run", run_id)
    return {
        "run_id": run_id,
        "listed": [run.run_id for run in listed.runs],
        "state": ended.state,
        "storage_state": ended.storage_state,
        "retry": retried["message"],
        "task": ended.run_details.task_details[0].to_dict()["display_name"],
    }


def recurring(call: Caller, spec: dict, experiment: str) -> dict:
    schedule = api.V2beta1CronSchedule(cron="0 0 0 1 1 ?")
    body = api.V2beta1RecurringRun(
        display_name="yearly",
        pipeline_spec=spec,
        experiment_id=experiment,
        max_concurrency="2",
        mode="ENABLE",
        trigger=api.V2beta1Trigger(cron_schedule=schedule),
    )
    own = call("recurring_run_service_create_recurring_run", body).recurring_run_id
    call("recurring_run_service_disable_recurring_run", own)
    disabled = call("recurring_run_service_get_recurring_run", own)
    call("recurring_run_service_enable_recurring_run", own)
    listed = call("recurring_run_service_list_recurring_runs", experiment_id=experiment)
    call("recurring_run_service_delete_recurring_run", own)
    return {
        "recurring": [disabled.status, *(job.status for job in listed.recurring_runs)],
        "concurrency": disabled.max_concurrency,
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
