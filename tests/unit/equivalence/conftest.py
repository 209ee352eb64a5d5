import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # plain_attention, also for `_target_=`
