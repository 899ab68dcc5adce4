"""Vision models: the published architectures, parameter by parameter and number by number beside torchvision's."""

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as peers
from torchvision.models.googlenet import BasicConv2d, Inception, InceptionAux

from workers.workloads.convnets import densenet121, googlenet, small_cnn, vgg16
from workers.workloads.resnets import resnet8, resnet18, resnet20, resnet34

Builder = Callable[..., nn.Module]
ALL: list[Builder] = [small_cnn, resnet8, resnet20, resnet18, resnet34, vgg16, densenet121, googlenet]
SMALL: list[Builder] = [small_cnn, resnet8, resnet20]


def random_numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_random_batch_norms(model: nn.Module) -> nn.Module:
    """In float64, with batch norms that differ from each other and from the identity."""
    model = model.double()
    for seed, layer in enumerate(model.modules()):
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data = 1 + 0.1 * random_numbers(layer.num_features, seed=seed)
            layer.bias.data = 0.1 * random_numbers(layer.num_features, seed=seed + 10_000)
            layer.running_mean = 0.1 * random_numbers(layer.num_features, seed=seed + 20_000)
            layer.running_var = 1 + 0.5 * random_numbers(layer.num_features, seed=seed + 30_000).tanh()
    return model


def peer_of(build: Callable[..., nn.Module], **arguments: object) -> nn.Module:
    """A model of torchvision's in float64, its weights not yet set: to draw them takes seconds."""
    with torch.device("meta"):
        model = build(**arguments)
    return model.to(torch.float64).to_empty(device="cpu")


def shapes(state: dict[str, Tensor], skipped: Iterable[str]) -> dict[str, torch.Size]:
    """Names and shapes of all but those whose names begin with one of ``skipped``."""
    return {name: tensor.shape for name, tensor in state.items() if not name.startswith(tuple(skipped))}


def load_same_shapes(peer: nn.Module, ours: nn.Module) -> None:
    """Copy all of the state but for the stem, whose shape is another, into ``peer``."""
    wanted = {name: tensor.shape for name, tensor in peer.state_dict().items()}
    state = {name: tensor for name, tensor in ours.state_dict().items() if tensor.shape == wanted.get(name)}
    peer.load_state_dict(state, strict=False)


def compare_bodies(
    ours: nn.Module, our_body: nn.Module, peer: nn.Module, peer_body: nn.Module, features: Tensor
) -> None:
    """Give ``peer`` the weights of ``ours``; outputs, gradients and running statistics of the bodies are then equal."""
    load_same_shapes(peer, ours)
    for training in (True, False):
        results = []
        for model, body in ((ours, our_body), (peer, peer_body)):
            model.train(training)
            # A copy: GoogLeNet's and DenseNet's first layers may work in place.
            inputs = features.clone().requires_grad_()
            outputs = body(inputs * 1)
            weights = random_numbers(*outputs.shape, seed=1)
            names = [name for name, _ in body.named_parameters()]
            results.append(
                (
                    outputs.detach(),
                    torch.autograd.grad((outputs * weights).sum(), [inputs, *body.parameters()]),
                    names,
                    dict(body.named_buffers()),
                )
            )
        (outputs, gradients, names, buffers), (peer_outputs, peer_gradients, peer_names, peer_buffers) = results
        assert names == peer_names
        assert_close(outputs, peer_outputs)
        for gradient, peer_gradient in zip(gradients, peer_gradients, strict=True):
            assert_close(gradient, peer_gradient)
        assert buffers.keys() == peer_buffers.keys()
        for name, buffer in buffers.items():
            assert_close(buffer, peer_buffers[name])


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    """Equal to 1e-12 of the largest element, or of 1."""
    assert ours.shape == theirs.shape
    # torch.testing.assert_close would take ten times as long over the millions of weights here.
    assert (ours - theirs).abs().max() <= 1e-12 * max(1.0, theirs.abs().max().item())


def chain(model: nn.Module, *names: str) -> nn.Sequential:
    """The named children one behind the other; a flattening before the last."""
    body = nn.Sequential()
    for name in names:
        body.add_module(name, nn.Flatten() if name == "flatten" else model.get_submodule(name))
    return body


@pytest.mark.parametrize(("ours", "theirs"), [(resnet18, peers.resnet18), (resnet34, peers.resnet34)])
def test_a_resnet_behind_its_stem_is_torchvisions(ours: Builder, theirs: Builder) -> None:
    model = with_random_batch_norms(ours(3, 7))
    peer = peer_of(theirs, num_classes=7)
    skipped = ["conv1."]
    assert shapes(model.state_dict(), skipped) == shapes(peer.state_dict(), skipped)
    assert list(model.state_dict()) == list(peer.state_dict())
    body = ("bn1", "relu", "layer1", "layer2", "layer3", "layer4", "avgpool", "flatten", "fc")
    compare_bodies(model, chain(model, *body), peer, chain(peer, *body), random_numbers(2, 64, 10, 10))


def test_vgg16_up_to_its_classifier_is_torchvisions() -> None:
    model = with_random_batch_norms(vgg16(3, 7))
    peer = peer_of(peers.vgg16_bn, num_classes=7, init_weights=False)
    assert shapes(model.state_dict(), ["classifier."]) == shapes(peer.state_dict(), ["classifier."])
    compare_bodies(model.features, model.features, peer.features, peer.features, random_numbers(2, 3, 32, 32))


def test_densenet121_behind_its_stem_is_torchvisions() -> None:
    model = with_random_batch_norms(densenet121(3, 7))
    peer = peer_of(peers.densenet121, num_classes=7)
    stem = ("features.conv0.", "features.norm0.")
    assert shapes(model.state_dict(), stem) == shapes(peer.state_dict(), stem)
    names = [name for name, _ in model.features.named_children()][1:]
    assert names == [name for name, _ in peer.features.named_children()][4:]

    def body(network: nn.Module) -> nn.Module:
        """From the first dense block to the logits, by our layers behind ``features``, which have no weights."""
        layers = chain(network.features, *names)
        layers.add_module("end", nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.classifier))
        return layers

    compare_bodies(model, body(model), peer, body(peer), random_numbers(2, 64, 16, 16))


class InceptionOfTwice3x3(Inception):
    """The module of torchvision, with two 3x3 convolutions where the paper has one of 5x5."""

    def __init__(self, *widths: int) -> None:
        super().__init__(*widths)
        self.branch3.append(BasicConv2d(widths[5], widths[5], kernel_size=3, padding=1))


def googlenet_peer(inception: type[Inception]) -> nn.Module:
    """The model of torchvision, with torch's usual eps in batch norms, and no dropout."""
    peer = peer_of(
        peers.googlenet,
        num_classes=7,
        aux_logits=False,
        init_weights=False,
        dropout=0.0,
        blocks=[BasicConv2d, inception, InceptionAux],
    )
    for layer in peer.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-5
    peer.maxpool3 = peer.maxpool4 = nn.MaxPool2d(3, stride=2, padding=1)
    return peer


STEM = ("conv1.", "conv2.", "conv3.")


def test_googlenet_behind_its_stem_is_torchvisions_but_for_the_5x5_branch() -> None:
    model = with_random_batch_norms(googlenet(3, 7))
    peer = googlenet_peer(Inception)
    ours = {name: shape for name, shape in shapes(model.state_dict(), STEM).items() if "branch3.2" not in name}
    assert ours == shapes(peer.state_dict(), STEM)
    features = random_numbers(2, 192, 8, 8)
    module, peer_module = model.inception3a, peer.inception3a
    for branch in ("branch1", "branch2", "branch4"):
        body, peer_body = module.get_submodule(branch), peer_module.get_submodule(branch)
        compare_bodies(body, body, peer_body, peer_body, features)


def test_googlenet_behind_its_stem_is_torchvisions_with_two_3x3_convolutions_for_one_of_5x5() -> None:
    model = with_random_batch_norms(googlenet(3, 7))
    peer = googlenet_peer(InceptionOfTwice3x3)
    assert shapes(model.state_dict(), STEM) == shapes(peer.state_dict(), STEM)
    names = [name for name, _ in model.named_children()][1:]
    features = random_numbers(2, 192, 8, 8)
    compare_bodies(model, chain(model, *names), peer, chain(peer, *names), features)


@pytest.mark.parametrize(
    ("build", "arguments", "parameters", "tensors"),
    [
        (small_cnn, {"channels": 1}, 9_978, 8),
        (resnet8, {"channels": 3}, 75_290, 23),
        (resnet8, {"channels": 3, "projection": True}, 78_042, 29),
        # 269,722 and 272,474 are the counts of public implementations with option A and with option B.
        (resnet20, {"channels": 3}, 269_722, 59),
        (resnet20, {"channels": 3, "projection": True}, 272_474, 65),
        # The counts of pytorch-cifar's models, most of which the Adai authors have too. Its GoogLeNet has 6,166,250: a
        # bias for each of the 7,904 channels of convolutions, which batch norm cancels, besides.
        (resnet18, {"channels": 3}, 11_173_962, 62),
        (resnet34, {"channels": 3}, 21_282_122, 110),
        (vgg16, {"channels": 3}, 14_728_266, 54),
        (densenet121, {"channels": 3}, 6_956_298, 362),
        (googlenet, {"channels": 3}, 6_158_346, 194),
    ],
)
def test_models_have_as_many_parameters_as_published(
    build: Builder, arguments: dict[str, int], parameters: int, tensors: int
) -> None:
    with torch.device("meta"):
        model = build(**arguments, classes=10)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert len(list(model.parameters())) == tensors


def shortcut_by_hand(features: Tensor) -> Tensor:
    count, channels, height, width = features.shape
    padded = torch.zeros(count, 2 * channels, height // 2, width // 2, dtype=features.dtype)
    padded[:, :channels] = features[:, :, ::2, ::2]
    return padded


def test_a_cifar_resnet_is_the_papers_chain_of_convolutions_and_parameter_free_shortcuts() -> None:
    model = with_random_batch_norms(resnet20(3, 10)).eval()
    state = model.state_dict()
    images = random_numbers(2, 3, 32, 32)

    def normalized_convolution(features: Tensor, conv: str, bn: str, stride: int = 1) -> Tensor:
        product = nn.functional.conv2d(features, state[f"{conv}.weight"], stride=stride, padding=1)
        mean, variance, weight, bias = (
            state[f"{bn}.{name}"].view(1, -1, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (product - mean) / (variance + 1e-5).sqrt() * weight + bias

    features = normalized_convolution(images, "conv1", "bn1").clamp(min=0)
    for stage in (1, 2, 3):
        for block in (0, 1, 2):
            halves = stage > 1 and block == 0
            name = f"layer{stage}.{block}"
            inner = normalized_convolution(features, f"{name}.conv1", f"{name}.bn1", 2 if halves else 1).clamp(min=0)
            inner = normalized_convolution(inner, f"{name}.conv2", f"{name}.bn2")
            features = (inner + (shortcut_by_hand(features) if halves else features)).clamp(min=0)
    assert features.shape == (2, 64, 8, 8)
    logits = features.mean(dim=(2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    assert_close(model(images).detach(), logits)


@pytest.mark.parametrize("build", [resnet8, resnet20])
def test_cifar_resnets_start_from_normal_weights_of_variance_2_over_fan_in(build: Builder) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(3, 10)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    scaled = [(layer.weight.detach() * (layer.weight[0].numel() / 2) ** 0.5).flatten() for layer in layers]
    for numbers in scaled:
        assert abs(numbers.square().mean() - 1) < 6 * (2 / len(numbers)) ** 0.5
    together = torch.cat(scaled)
    # Of a normal distribution, not of the uniform one that torch draws from: the fourth moment is 3, not 1.8.
    assert abs(together.pow(4).mean() - 3) < 6 * (96 / len(together)) ** 0.5
    assert not model.fc.bias.any()


@pytest.mark.parametrize(
    ("build", "bound"), [(small_cnn, 9), (resnet18, 27), (vgg16, 27), (densenet121, 27), (googlenet, 27)]
)
def test_other_models_start_from_torchs_own_uniform_weights(build: Builder, bound: int) -> None:
    weight = next(build(bound // 9, 10).parameters()).detach()
    assert weight.abs().max() <= bound**-0.5
    assert weight.abs().max() > 0.9 * bound**-0.5


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("build", ALL)
def test_models_take_any_number_of_channels_and_classes(build: Builder, size: int) -> None:
    with torch.device("meta"):  # shapes without numbers
        assert build(5, 11)(torch.zeros(2, 5, size, size)).shape == (2, 11)


@pytest.mark.parametrize("build", ALL)
def test_every_parameter_gets_a_finite_gradient_from_28x28_images(build: Builder) -> None:
    model = build(1, 3).double()
    logits = model(random_numbers(2, 1, 28, 28))
    nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # Batch norm cancels the bias before it; everything else moves the loss.
        assert parameter.grad.any() or name.endswith("bias"), name


@pytest.mark.parametrize(
    ("build", "largest"), [(resnet8, 4), (resnet20, 4), (resnet18, 8), (vgg16, 16), (densenet121, 15), (googlenet, 4)]
)
def test_one_image_alone_can_be_trained_on_if_it_is_large_enough(build: Builder, largest: int) -> None:
    model = build(1, 10)
    assert model(torch.zeros(1, 1, largest + 1, largest + 1)).shape == (1, 10)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model(torch.zeros(1, 1, largest, largest))


@pytest.mark.parametrize("build", [*SMALL, resnet18, vgg16, densenet121, googlenet])
def test_logits_depend_on_the_company_of_an_image_in_training_only(build: Builder) -> None:
    model = build(1, 3).double()
    image, other, another = random_numbers(3, 1, 1, 16, 16)
    first, second = (model(torch.cat([image, company]))[0] for company in (other, another))
    assert not torch.allclose(first, second)
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.eval()
    first, second = (model(torch.cat([image, company]))[0] for company in (other, another))
    assert_close(first.detach(), second.detach())
    assert statistics
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, statistics[name]), name


@pytest.mark.parametrize("build", ALL)
def test_training_draws_no_random_numbers(build: Builder) -> None:
    model = build(1, 3)
    images = torch.ones(2, 1, 8, 8)
    before = torch.get_rng_state()
    model(images).sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


def test_small_cnn_on_8x8_images_is_two_convolutions_max_pooling_in_windows_of_2x2_and_a_linear_layer() -> None:
    model = with_random_batch_norms(small_cnn(1, 10)).eval()
    (conv1, bn1, _), (conv2, bn2, _), _, _, linear = model
    images = random_numbers(3, 1, 8, 8)
    features = bn2(conv2(bn1(conv1(images)).clamp(min=0))).clamp(min=0)
    windows = features.reshape(3, 32, 4, 2, 4, 2).amax(dim=(3, 5))
    assert_close(model(images).detach(), (windows.flatten(1) @ linear.weight.T + linear.bias).detach())


@pytest.mark.parametrize("build", [*SMALL, googlenet])
def test_models_run_with_parameters_from_outside(build: Builder) -> None:
    model, other = with_random_batch_norms(build(1, 3)), with_random_batch_norms(build(1, 3))
    images = random_numbers(2, 1, 16, 16)
    expected = other(images).detach()
    # Buffers too: functional_call writes the running statistics into what it is given.
    state = {name: tensor.detach().clone() for name, tensor in other.state_dict().items()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert torch.equal(torch.func.functional_call(model, state, (images,)).detach(), expected)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("build", [small_cnn, resnet8])
def test_models_compile_into_one_graph(build: Builder) -> None:
    model = with_random_batch_norms(build(1, 3))
    images = random_numbers(2, 1, 16, 16)
    expected = model.eval()(images)
    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend="eager")
    assert torch.equal(compiled(images), expected)
    torch.compiler.reset()
