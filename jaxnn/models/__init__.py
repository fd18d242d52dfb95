# SPDX-License-Identifier: Apache-2.0
"""Well-known networks, one paper per file: functions that return a layer."""

from jaxnn.messages import public
from jaxnn.models.alexnet import alexnet as alexnet
from jaxnn.models.autoencoder import AutoEncoder as AutoEncoder
from jaxnn.models.autoencoder import TiedAutoEncoder as TiedAutoEncoder
from jaxnn.models.autoencoder import autoencoder as autoencoder
from jaxnn.models.auxiliary import Outputs as Outputs
from jaxnn.models.auxiliary import WithAuxiliary as WithAuxiliary
from jaxnn.models.auxiliary import with_auxiliary as with_auxiliary
from jaxnn.models.bert import BERT as BERT
from jaxnn.models.bert import bert as bert
from jaxnn.models.cifar_resnet import PadShortcut as PadShortcut
from jaxnn.models.cifar_resnet import cifar_resnet as cifar_resnet
from jaxnn.models.dcgan import Game as Game
from jaxnn.models.dcgan import dcgan as dcgan
from jaxnn.models.denoiser import Denoiser as Denoiser
from jaxnn.models.denoiser import DenoiserBlock as DenoiserBlock
from jaxnn.models.denoiser import denoiser as denoiser
from jaxnn.models.detector import Detector as Detector
from jaxnn.models.detector import detections as detections
from jaxnn.models.detector import detector as detector
from jaxnn.models.googlenet import GoogLeNet as GoogLeNet
from jaxnn.models.googlenet import googlenet as googlenet
from jaxnn.models.gpt2 import gpt2 as gpt2
from jaxnn.models.lenet import lenet5 as lenet5
from jaxnn.models.resnet import BasicBlock as BasicBlock
from jaxnn.models.resnet import Bottleneck as Bottleneck
from jaxnn.models.resnet import PreactivationBlock as PreactivationBlock
from jaxnn.models.resnet import PreactivationBottleneck as PreactivationBottleneck
from jaxnn.models.resnet import resnet as resnet
from jaxnn.models.stages import stack_blocks as stack_blocks
from jaxnn.models.stages import unstack_blocks as unstack_blocks
from jaxnn.models.unet import UNet as UNet
from jaxnn.models.unet import unet as unet
from jaxnn.models.vae import VAE as VAE
from jaxnn.models.vae import ImportanceBound as ImportanceBound
from jaxnn.models.vae import NegativeElbo as NegativeElbo
from jaxnn.models.vae import vae as vae
from jaxnn.models.vgg import vgg as vgg
from jaxnn.models.vit import ViT as ViT
from jaxnn.models.vit import vit as vit

public.show(__name__)
