"""DeFlow: offline reinforcement learning with flow policies, composed from parts.

    task = deflow.load_task("cube-single-play-singletask-task2-v0", deflow.Collected(rows=200_000))
    config = deflow.agent_config("deflow", settings=deflow.task_settings(task.name), solver="heun")
    learner = deflow.Learner.create(config, task.spec, task.train, key=jax.random.key(0))
    for step, learner, metrics in deflow.train_offline(learner, task.train, steps=20_000, key=jax.random.key(1)):
        ...
    print(deflow.evaluate(learner.agent, task, episodes=50, seed=0))

Data: `load_task` with `Official`, `Collected` or `UserData`; `Task`, `Batch`.
Agents: `agent_config`, `task_settings`, `ALGORITHMS`; `Agent`, `AgentConfig`.
Training: `Learner`, `train_offline` on `Devices`, `train_online` with `Actors` and `make_replay`.
Results: `evaluate`, `Evaluator`, `Evaluation`; `create_run`, `load`, `load_learner`, `Run`; `Policy`, `export`.
Parts, each kind with its `registry` and its abstract class: `encoders`, `fields`, `solvers`, `refiners`,
`trust_regions`, `constraints`, `critics`, `augmentations`; `testing` checks a part of your own.
Errors: `DeflowError`, and all others in `errors`.
"""

import lazy_loader  # names, listed in __init__.pyi, are imported on first use: worker processes need few

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
