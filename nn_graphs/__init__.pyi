from .by_name.cards import describe as describe
from .by_name.named_parts import get_encoder as get_encoder
from .by_name.named_parts import get_task as get_task
from .by_name.named_parts import get_training as get_training
from .by_name.named_parts import get_zoo as get_zoo
from .by_name.named_parts import list_encoders as list_encoders
from .by_name.named_parts import list_tasks as list_tasks
from .by_name.named_parts import list_zoos as list_zoos
from .by_name.task_scores import evaluate as evaluate
from .encoders.embedding import embed as embed
from .encoders.encoder_files import load_encoder as load_encoder
from .encoders.encoder_files import save_encoder as save_encoder
from .errors import NNGraphsError as NNGraphsError
from .graphs.builder import template_from_spec as template_from_spec
from .graphs.graph_template import GraphTemplate as GraphTemplate
from .graphs.graph_template import NeuralGraphStack as NeuralGraphStack
from .graphs.neural_graph import NeuralGraph as NeuralGraph
from .graphs.tracing import trace as trace
from .learned_optimizers.learned_optimizer import LearnedOptimizer as LearnedOptimizer
from .learned_optimizers.update_files import shipped_update as shipped_update
from .networks.spec import ConvSpec as ConvSpec
from .networks.spec import LayerSpec as LayerSpec
from .networks.spec import NetworkSpec as NetworkSpec
from .zoos.zoo import Zoo as Zoo

__version__: str
