"""Runs every part of a workload once before a study is written, so that mistakes in it are refused up front."""

import dataclasses

import torch
from torch import Tensor

from workers.curvature import CurvatureSettings
from workers.dropout import dropout_keys
from workers.engines import RowLayout, StepData, initial_rows
from workers.engines.forward import Forward
from workers.feed import Feed
from workers.global_generators import GeneratorStates
from workers.messages import Training, TrialBatch, WorkloadReference
from workers.preparation import during, prepare_data, prepare_workload
from workers.probe import measure_rows
from workers.workloads import CrossEntropy, Dataset, Split

#: Examples with which validation, test and curvature are tried.
_FEW = 8
#: As little curvature as there is: whether it can be measured, not what it is.
_ROUGH = CurvatureSettings(probes=2, lanczos_steps=1)


def rehearse(reference: WorkloadReference, training: Training, device: torch.device) -> None:
    """Run every part of the workload once: what fails here would fail in every trial, some of it only at the end.

    Args:
        reference: Which workload.
        training: How it is to be trained.
        device: Where.

    Raises:
        ValueError: What a part of it gives is of the wrong shape or out of its range; or its training is.
        TypeError: What a part of it gives is of the wrong type.
        KeyError: There is no such workload or schedule.
        MissingDataError: Its data is not on this machine.
        Exception: Whatever its own code raises, with the name of the part as a note.
    """
    states = GeneratorStates.read()
    try:
        rehearsal = _Rehearsal(reference, training, device)
        rehearsal.try_schedule()
        rehearsal.try_last_step()
        rehearsal.try_evaluation()
        rehearsal.try_curvature()
    finally:
        # The engines look for hidden randomness, and refuse it by the name of the module.
        states.restore()


class _Rehearsal:
    """One run through the parts of a workload, by the module's own code."""

    def __init__(self, reference: WorkloadReference, training: Training, device: torch.device) -> None:
        self._training = training
        self._workload = prepare_workload(reference, training)
        self._data = prepare_data(reference, training.data, device=device, dtype=torch.float32)
        self._batch = TrialBatch(0, reference, "", (), (), {}, 0, (), "val_loss", training=training)
        with during("build_model"):
            self._model, self._rows = initial_rows(
                lambda: self._workload.build_model(self._data),
                study_seed=0,
                seeds=[0],
                dtype=torch.float32,
                device=device,
            )
        self._layout = RowLayout.of(self._model)
        views = self._layout.views(self._rows.theta_TP.clone()).values()
        self._parameters = [view[0].clone().requires_grad_() for view in views]

    def try_schedule(self) -> None:
        """Its first, middle and last factor; it refuses bad ones by itself."""
        steps = self._workload.epochs * -(-len(self._data.train.labels) // self._workload.batch_size)
        for progress in (0.0, 0.5, (steps - 1) / steps):
            self._workload.schedule(progress)

    def try_last_step(self) -> None:
        """A step with as few examples as the last one of an epoch has, to which batch norm, for one, may object."""
        train = self._data.train
        size = len(train.labels) % self._workload.batch_size or self._workload.batch_size
        part = Split(train.inputs[:size], train.labels[:size])
        few = Dataset(part, part, part, self._data.classes)
        with during("augment"):
            step = next(Feed(self._workload, few, self._model, self._batch).epoch(1, [0]))
        if step.inputs[0].shape != part.inputs.shape:
            raise ValueError(
                f"augment of workload {self._workload.name!r} makes inputs of shape {tuple(step.inputs[0].shape)} of "
                f"those of shape {tuple(part.inputs.shape)}; it must keep the shape"
            )
        self._model.train()
        outputs = self._forward(step.inputs[0], self._buffers(step), f"training, batch of {size}")
        loss = self._loss(outputs, step.labels[0], f"training, batch of {size}", smoothed=True)
        with during("backward pass"):
            torch.autograd.grad(loss, self._parameters, materialize_grads=True)

    def _buffers(self, step: StepData) -> dict[str, Tensor]:
        keys = {} if step.dropout_keys is None else dict.fromkeys(dropout_keys(self._model), step.dropout_keys[0])
        # Running statistics are changed in place.
        return {name: buffer.clone() for name, buffer in self._rows.buffers[0].items()} | keys

    def _forward(self, inputs: Tensor, buffers: dict[str, Tensor], when: str) -> Tensor:
        autocast = torch.bfloat16 if self._training.precision == "bfloat16" else None
        forward = Forward(self._model, self._workload.loss, self._layout.names, autocast=autocast)
        with during(f"forward pass ({when})"):
            outputs = forward.outputs(self._parameters, buffers, inputs)
        if not isinstance(outputs, Tensor):
            raise TypeError(f"the model's outputs are of type {type(outputs).__name__}; return one tensor")
        classes = self._data.classes
        if classes is None or not isinstance(self._workload.loss, CrossEntropy):
            return outputs
        if outputs.dim() < 2 or outputs.shape[1] != classes:
            raise ValueError(
                f"the model's outputs are of shape {tuple(outputs.shape)}, but the data has {classes} classes; give "
                f"logits of shape (batch, {classes}) or (batch, {classes}, length)"
            )
        return outputs

    def _loss(self, outputs: Tensor, labels: Tensor, when: str, *, smoothed: bool) -> Tensor:
        plain = CrossEntropy() if isinstance(self._workload.loss, CrossEntropy) else self._workload.loss
        with during(f"loss ({when})"):
            loss = (self._workload.loss if smoothed else plain)(outputs, labels)
        _check_scalar("loss", loss)
        return loss

    @torch.no_grad()
    def try_evaluation(self) -> None:
        """Loss and error of a few validation and test examples."""
        self._model.eval()
        for when, split in (("validation", self._data.validation), ("test", self._data.test)):
            labels = split.labels[:_FEW]
            outputs = self._forward(split.inputs[:_FEW], dict(self._rows.buffers[0]), when)
            self._loss(outputs, labels, when, smoothed=False)
            if self._workload.error is not None:
                with during(f"error ({when})"):
                    error = self._workload.error(outputs, labels)
                _check_scalar("error", error)
                if not 0 <= error.item() <= 1:
                    raise ValueError(
                        f"the error in {when} is {error.item():g}; it must be the share of wrong predictions, from 0 "
                        "to 1, or None for a workload without predictions"
                    )

    def try_curvature(self) -> None:
        """Whether what is asked for can be measured."""
        request = self._training.curvature
        if request is None:
            return
        if request.slice_points and all(len(shape) < 2 for shape in self._layout.shapes):
            raise ValueError(
                "its model has no parameter of two or more dimensions, and a filter-normalised slice leaves all others "
                "where they are: it would be flat; leave slice_points out"
            )
        few = dataclasses.replace(request, examples=min(request.examples, _FEW))
        with during("curvature"):
            measure_rows(
                few,
                self._model,
                self._rows,
                self._workload,
                self._data.train,
                study_seed=0,
                seeds=[0],
                epoch=1,
                settings=_ROUGH,
            )


def _check_scalar(name: str, value: Tensor) -> None:
    """Refuse what is no tensor of one number."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} returns {type(value).__name__}; return a tensor without dimensions, the batch's mean")
    if value.dim():
        raise ValueError(
            f"{name} returns a tensor of shape {tuple(value.shape)}; return one without dimensions, the batch's mean"
        )
